/** The answers of three servers of NATS 2.9.10, as they were recorded, without most of the configuration. */
export const ANSWERS = {
  nats_1: {
    varz: {
      server_id: 'NC6AFVCCLSSQLPN4AST6TSKRIDDBLY55CCGJ4MWDKJN4PDBRDDKRKKZB',
      server_name: 'nats_1',
      version: '2.9.10',
    },
    jsz: {
      server_id: 'NC6AFVCCLSSQLPN4AST6TSKRIDDBLY55CCGJ4MWDKJN4PDBRDDKRKKZB',
      now: '2026-11-25T23:39:28.984729287Z',
      streams: 2,
      consumers: 1,
      messages: 31,
      meta_cluster: {
        name: 'demo',
        leader: 'nats_2',
        peer: 'hdI89ZqF',
        cluster_size: 3,
      },
      account_details: [
        {
          name: '$G',
          id: '$G',
          stream_detail: [
            {
              name: 'ORDERS',
              created: '2026-11-25T23:39:26.225380622Z',
              cluster: {
                name: 'demo',
                leader: 'nats_2',
                replicas: [
                  {
                    name: 'nats_2',
                    current: true,
                    active: 90680922,
                    lag: 4,
                    peer: 'hdI89ZqF',
                  },
                  {
                    name: 'nats_3',
                    current: false,
                    active: 0,
                    lag: 4,
                    peer: 'a5l9vIW9',
                  },
                ],
              },
              config: {
                name: 'ORDERS',
                subjects: ['orders.>'],
                retention: 'limits',
                num_replicas: 3,
              },
              state: {
                messages: 31,
                first_seq: 1,
                last_seq: 31,
                last_ts: '2026-11-25T23:39:27.441586627Z',
              },
              consumer_detail: [
                {
                  stream_name: 'ORDERS',
                  name: 'billing',
                  created: '2026-11-25T23:39:27.017281459Z',
                  config: {
                    durable_name: 'billing',
                    name: 'billing',
                    ack_policy: 'explicit',
                    num_replicas: 3,
                  },
                  delivered: {
                    consumer_seq: 0,
                    stream_seq: 0,
                  },
                  ack_floor: {
                    consumer_seq: 0,
                    stream_seq: 0,
                  },
                  num_ack_pending: 0,
                  num_redelivered: 0,
                  num_waiting: 0,
                  num_pending: 31,
                  cluster: {
                    name: 'demo',
                    leader: 'nats_2',
                    replicas: [
                      {
                        name: 'nats_2',
                        current: true,
                        active: 703438773,
                        lag: 1,
                        peer: 'hdI89ZqF',
                      },
                      {
                        name: 'nats_3',
                        current: false,
                        active: 0,
                        lag: 1,
                        peer: 'a5l9vIW9',
                      },
                    ],
                  },
                },
              ],
            },
            {
              name: 'PART',
              created: '2026-11-25T23:39:27.299173355Z',
              cluster: {
                name: 'demo',
                leader: 'nats_1',
              },
              config: {
                name: 'PART',
                retention: 'limits',
                num_replicas: 1,
                mirror: {
                  name: 'ORDERS',
                  filter_subject: 'orders.a',
                },
              },
              state: {
                messages: 0,
                first_seq: 0,
                last_seq: 0,
                last_ts: '0001-01-01T00:00:00Z',
              },
              mirror: {
                name: 'ORDERS',
                lag: 0,
                active: 596043650,
              },
            },
          ],
        },
      ],
    },
  },
  nats_2: {
    varz: {
      server_id: 'NBNGBDLUNDQGIK6FQYPGSHLCSQ54IT2YJ5CB3K43RSPQETYRGQFAWGQK',
      server_name: 'nats_2',
      version: '2.9.10',
    },
    jsz: {
      server_id: 'NBNGBDLUNDQGIK6FQYPGSHLCSQ54IT2YJ5CB3K43RSPQETYRGQFAWGQK',
      now: '2026-11-25T23:39:28.990675498Z',
      streams: 3,
      consumers: 2,
      messages: 62,
      meta_cluster: {
        name: 'demo',
        leader: 'nats_2',
        peer: 'hdI89ZqF',
        replicas: [
          {
            name: 'nats_1',
            current: true,
            active: 1556130105,
            peer: 'S4Af1LEb',
          },
          {
            name: 'nats_3',
            current: true,
            active: 1555458272,
            peer: 'a5l9vIW9',
          },
        ],
        cluster_size: 3,
      },
      account_details: [
        {
          name: '$G',
          id: '$G',
          stream_detail: [
            {
              name: 'ORDERS',
              created: '2026-11-25T23:39:26.225380622Z',
              cluster: {
                name: 'demo',
                leader: 'nats_2',
                replicas: [
                  {
                    name: 'nats_1',
                    current: true,
                    active: 96189837,
                    peer: 'S4Af1LEb',
                  },
                  {
                    name: 'nats_3',
                    current: true,
                    active: 96202851,
                    peer: 'a5l9vIW9',
                  },
                ],
              },
              config: {
                name: 'ORDERS',
                subjects: ['orders.>'],
                retention: 'limits',
                num_replicas: 3,
              },
              state: {
                messages: 31,
                first_seq: 1,
                last_seq: 31,
                last_ts: '2026-11-25T23:39:27.441586627Z',
              },
              consumer_detail: [
                {
                  stream_name: 'ORDERS',
                  name: 'billing',
                  created: '2026-11-25T23:39:27.017281459Z',
                  config: {
                    durable_name: 'billing',
                    name: 'billing',
                    ack_policy: 'explicit',
                    num_replicas: 3,
                  },
                  delivered: {
                    consumer_seq: 0,
                    stream_seq: 0,
                  },
                  ack_floor: {
                    consumer_seq: 0,
                    stream_seq: 0,
                  },
                  num_ack_pending: 0,
                  num_redelivered: 0,
                  num_waiting: 0,
                  num_pending: 31,
                  cluster: {
                    name: 'demo',
                    leader: 'nats_2',
                    replicas: [
                      {
                        name: 'nats_1',
                        current: true,
                        active: 708990468,
                        peer: 'S4Af1LEb',
                      },
                      {
                        name: 'nats_3',
                        current: true,
                        active: 708573331,
                        peer: 'a5l9vIW9',
                      },
                    ],
                  },
                },
                {
                  stream_name: 'ORDERS',
                  name: 'temp',
                  created: '2026-11-25T23:39:27.284286287Z',
                  config: {
                    name: 'temp',
                    ack_policy: 'explicit',
                    num_replicas: 0,
                  },
                  delivered: {
                    consumer_seq: 0,
                    stream_seq: 0,
                  },
                  ack_floor: {
                    consumer_seq: 0,
                    stream_seq: 0,
                  },
                  num_ack_pending: 0,
                  num_redelivered: 0,
                  num_waiting: 0,
                  num_pending: 31,
                  cluster: {
                    name: 'demo',
                    leader: 'nats_2',
                  },
                },
              ],
            },
            {
              name: 'COPY',
              created: '2026-11-25T23:39:27.291109574Z',
              cluster: {
                name: 'demo',
                leader: 'nats_2',
              },
              config: {
                name: 'COPY',
                retention: 'limits',
                num_replicas: 1,
                mirror: {
                  name: 'ORDERS',
                },
              },
              state: {
                messages: 31,
                first_seq: 1,
                last_seq: 31,
                last_ts: '2026-11-25T23:39:27.441586627Z',
              },
              mirror: {
                name: 'ORDERS',
                lag: 0,
                active: 510565233,
              },
            },
          ],
        },
      ],
    },
  },
  nats_3: {
    varz: {
      server_id: 'NAQBWVJEAA7ZG3S2BYNOMFEQWDJQVOU7DBWK7XALCGB7OZIDXOVD356Q',
      server_name: 'nats_3',
      version: '2.9.10',
    },
    jsz: {
      server_id: 'NAQBWVJEAA7ZG3S2BYNOMFEQWDJQVOU7DBWK7XALCGB7OZIDXOVD356Q',
      now: '2026-11-25T23:39:28.995473326Z',
      streams: 1,
      consumers: 1,
      messages: 31,
      meta_cluster: {
        name: 'demo',
        leader: 'nats_2',
        peer: 'hdI89ZqF',
        cluster_size: 3,
      },
      account_details: [
        {
          name: '$G',
          id: '$G',
          stream_detail: [
            {
              name: 'ORDERS',
              created: '2026-11-25T23:39:26.225380622Z',
              cluster: {
                name: 'demo',
                leader: 'nats_2',
                replicas: [
                  {
                    name: 'nats_1',
                    current: false,
                    active: 0,
                    lag: 4,
                    peer: 'S4Af1LEb',
                  },
                  {
                    name: 'nats_2',
                    current: true,
                    active: 101532611,
                    lag: 4,
                    peer: 'hdI89ZqF',
                  },
                ],
              },
              config: {
                name: 'ORDERS',
                subjects: ['orders.>'],
                retention: 'limits',
                num_replicas: 3,
              },
              state: {
                messages: 31,
                first_seq: 1,
                last_seq: 31,
                last_ts: '2026-11-25T23:39:27.441586627Z',
              },
              consumer_detail: [
                {
                  stream_name: 'ORDERS',
                  name: 'billing',
                  created: '2026-11-25T23:39:27.017281459Z',
                  config: {
                    durable_name: 'billing',
                    name: 'billing',
                    ack_policy: 'explicit',
                    num_replicas: 3,
                  },
                  delivered: {
                    consumer_seq: 0,
                    stream_seq: 0,
                  },
                  ack_floor: {
                    consumer_seq: 0,
                    stream_seq: 0,
                  },
                  num_ack_pending: 0,
                  num_redelivered: 0,
                  num_waiting: 0,
                  num_pending: 31,
                  cluster: {
                    name: 'demo',
                    leader: 'nats_2',
                    replicas: [
                      {
                        name: 'nats_1',
                        current: false,
                        active: 0,
                        lag: 1,
                        peer: 'S4Af1LEb',
                      },
                      {
                        name: 'nats_2',
                        current: true,
                        active: 713757780,
                        lag: 1,
                        peer: 'hdI89ZqF',
                      },
                    ],
                  },
                },
              ],
            },
          ],
        },
      ],
    },
  },
}
