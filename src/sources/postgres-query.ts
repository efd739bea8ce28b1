/** A row of {@link POSTGRES_QUERY}: the node, and one of its followers (null where it has none). */
export interface PostgresRow {
  /** The role that reads, quoted as SQL wants it. */
  readonly role_name: string
  readonly in_recovery: boolean
  /** The node's own newest WAL position in bytes; null on a standby that has none yet. */
  readonly leader: string | null
  /** System identifier and timeline: what the positions can be compared within. */
  readonly epoch: string
  /** The connection of the follower; null for a slot that nobody is connected to. */
  readonly connection: string | null
  /** What the connection is doing; null if the role may not see it. */
  readonly state: string | null
  readonly application_name: string | null
  readonly client_addr: string | null
  /** The permanent slot that it holds. */
  readonly slot_name: string | null
  /** Whether somebody streams from it; null in the row of a node without followers. */
  readonly connected: boolean | null
  /** Whether the server has removed WAL that the slot still needed. */
  readonly lost: boolean | null
  /** The follower's position in bytes; null while it is unknown. */
  readonly applied: string | null
}

/**
 * Followers from `pg_stat_replication` and `pg_replication_slots`, beside the node's own newest WAL position, as u64 bytes
 * since `0/0`. PostgreSQL 10 and later.
 *
 * - The followers are counted, and so materialized, before the node's position is read: read the other way round, what a
 *   follower replays in between would be a negative lag.
 * - On a standby the newest position is the later of received and replayed: one that restores from an archive received nothing.
 * - A walsender in state `backup` is a base backup. The one that streams its WAL reports no replay position, as does
 *   `pg_receivewal`: neither is a follower that applies.
 * - A temporary slot's name holds a process id, so it is no identity. The slots that copy a table for a new subscription
 *   (`pg_…_sync_…`) are gone in a moment. A slot that is `synced` (PostgreSQL 17) is a copy of the primary's.
 * - Columns that not every version has, `wal_status` (13) and `synced` (17), are looked up by name.
 * - The timeline of a primary is the first part of the name of its WAL file: what pg_control_checkpoint() tells is still
 *   the old one for a while after a promotion.
 */
export const POSTGRES_QUERY = `
with follower as materialized (
  select
    r.pid || ' ' || r.backend_start as connection,
    r.pid as pid,
    r.backend_start as backend_start,
    r.state as state,
    nullif(r.application_name, '') as application_name,
    host(r.client_addr) as client_addr,
    case when not s.temporary then s.slot_name end as slot_name,
    (r.pid is not null or s.active) as connected,
    coalesce(to_jsonb(s) ->> 'wal_status' = 'lost', false) as lost,
    (case
      when s.slot_type = 'logical' then s.confirmed_flush_lsn
      when r.pid is not null then r.replay_lsn
      else s.restart_lsn
    end - '0/0')::text as applied
  from pg_stat_replication r
  full join pg_replication_slots s on s.active_pid = r.pid
  where r.state is distinct from 'backup'
    and (r.pid is not null or not s.temporary)
    and coalesce(s.slot_name, '') !~ '^pg_[0-9]+_sync_[0-9]+_[0-9]+$'
    and (r.pid is not null or coalesce(to_jsonb(s) ->> 'synced', 'false') = 'false')
),
node as materialized (
  select
    (select count(*) from follower) as followers,
    pg_is_in_recovery() as in_recovery,
    (case
      when pg_is_in_recovery()
        then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
      else pg_current_wal_lsn()
    end - '0/0')::text as leader,
    (select system_identifier from pg_control_system()) || '/' || case
      when pg_is_in_recovery() then coalesce(
        (select received_tli from pg_stat_wal_receiver),
        (select timeline_id from pg_control_checkpoint())
      )
      else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
    end as epoch
)
select
  quote_ident(current_user) as role_name,
  node.in_recovery,
  node.leader,
  node.epoch,
  coalesce(follower.connection, follower.pid::text) as connection,
  follower.state,
  follower.application_name,
  follower.client_addr,
  follower.slot_name,
  follower.connected,
  follower.lost,
  follower.applied
from node
left join follower on true
order by follower.backend_start, follower.pid, follower.slot_name
`
