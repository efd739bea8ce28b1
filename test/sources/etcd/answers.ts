/** The status of three members of etcd 3.4.23, as it was recorded. The first leads. */
export const STATUSES = {
  e1: {
    header: {
      cluster_id: '3943897800735704630',
      member_id: '12051408658442678908',
      revision: '2',
      raft_term: '2',
    },
    version: '3.4.23',
    dbSize: '20480',
    leader: '12051408658442678908',
    raftIndex: '9',
    raftTerm: '2',
    raftAppliedIndex: '9',
    dbSizeInUse: '16384',
  },
  e2: {
    header: {
      cluster_id: '3943897800735704630',
      member_id: '5560968623000915612',
      revision: '2',
      raft_term: '2',
    },
    version: '3.4.23',
    dbSize: '20480',
    leader: '12051408658442678908',
    raftIndex: '9',
    raftTerm: '2',
    raftAppliedIndex: '9',
    dbSizeInUse: '16384',
  },
  e3: {
    header: {
      cluster_id: '3943897800735704630',
      member_id: '15989336369770098193',
      revision: '2',
      raft_term: '2',
    },
    version: '3.4.23',
    dbSize: '20480',
    leader: '12051408658442678908',
    raftIndex: '9',
    raftTerm: '2',
    raftAppliedIndex: '9',
    dbSizeInUse: '16384',
  },
}

/** A member that has lost its leader. */
export const LEADERLESS = {
  header: {
    cluster_id: '3943897800735704630',
    member_id: '5560968623000915612',
    revision: '2',
    raft_term: '2',
  },
  version: '3.4.23',
  dbSize: '20480',
  raftIndex: '9',
  raftTerm: '2',
  raftAppliedIndex: '9',
  errors: ['etcdserver: no leader'],
  dbSizeInUse: '16384',
}

/** The members of that cluster, with a learner that was never started. */
export const MEMBERS = {
  header: {
    cluster_id: '3943897800735704630',
    member_id: '12051408658442678908',
    raft_term: '4',
  },
  members: [
    {
      ID: '1580764089160888188',
      peerURLs: ['http://127.0.0.1:1'],
      isLearner: true,
    },
    {
      ID: '5560968623000915612',
      name: 'e2',
      peerURLs: ['http://127.0.0.1:40787'],
      clientURLs: ['http://127.0.0.1:33261'],
    },
    {
      ID: '12051408658442678908',
      name: 'e1',
      peerURLs: ['http://127.0.0.1:42527'],
      clientURLs: ['http://127.0.0.1:34879'],
    },
    {
      ID: '15989336369770098193',
      name: 'e3',
      peerURLs: ['http://127.0.0.1:44769'],
      clientURLs: ['http://127.0.0.1:40939'],
    },
  ],
}
