/** A row of {@link POSTGRES_QUERY}: the node, and one of its followers (null where it has none). */
export interface PostgresRow {
  /** The role that reads, quoted as SQL wants it. */
  readonly role_name: string
  readonly in_recovery: boolean
  /** The node's own newest WAL position in bytes; null on a standby that has none yet. */
  readonly leader: string | null
  /** Which database cluster it is. Together with the timeline that is what positions can be compared within. */
  readonly system_identifier: string
  /** The timeline of the node's newest position; null on a standby that receives nothing for now. */
  readonly timeline: number | null
  /** That which a standby would begin with after a restart: it may be an older one. */
  readonly restart_timeline: number
  /** The connection of the follower; null for a slot that nobody is connected to. */
  readonly connection: string | null
  /** What the connection is doing; null if the role may not see it. */
  readonly state: string | null
  readonly application_name: string | null
  readonly client_addr: string | null
  /** The permanent slot that it holds, and of which type that is: physical or logical. */
  readonly slot_name: string | null
  readonly slot_type: string | null
  /** Whether somebody streams from it; null in the row of a node without followers. */
  readonly connected: boolean | null
  /** Why the slot is of no use any more; null as long as it is. */
  readonly lost: string | null
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
 * - What a physical slot without a connection holds is what was received: see PostgresSlots.
 * - A temporary slot's name holds a process id, so it is no identity. The slots that copy a table for a new subscription
 *   (`pg_…_sync_…`) are gone in a moment. On a standby a slot that is `synced` (PostgreSQL 17) is a copy of the primary's;
 *   once it is promoted the flag may be left over.
 * - Columns that not every version has, `wal_status` (13), `synced` and `invalidation_reason` (17), are looked up by name.
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
    case when not s.temporary then s.slot_type end as slot_type,
    case when to_jsonb(s) ->> 'wal_status' = 'lost'
      then coalesce(to_jsonb(s) ->> 'invalidation_reason', 'wal_removed')
    end as lost,
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
    and (
      r.pid is not null
      or not pg_is_in_recovery()
      or coalesce(to_jsonb(s) ->> 'synced', 'false') = 'false'
    )
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
    (select system_identifier::text from pg_control_system()) as system_identifier,
    case
      when pg_is_in_recovery() then (select received_tli from pg_stat_wal_receiver)
      else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
    end as timeline,
    (select timeline_id from pg_control_checkpoint()) as restart_timeline
)
select
  quote_ident(current_user) as role_name,
  node.in_recovery,
  node.leader,
  node.system_identifier,
  node.timeline,
  node.restart_timeline,
  coalesce(follower.connection, follower.pid::text) as connection,
  follower.state,
  follower.application_name,
  follower.client_addr,
  follower.slot_name,
  follower.slot_type,
  follower.connected,
  follower.lost,
  follower.applied
from node
left join follower on true
order by follower.backend_start, follower.pid, follower.slot_name
`
