/** What to leave out of the statement, because a server has refused it, and what to add. */
export interface QueryOptions {
  /** Whether the role may call the pg_control_… functions. Without them the epoch is the timeline alone. */
  readonly control: boolean
  /** Whether the session is set to an isolation level that a standby does not support. */
  readonly serializable: boolean
}

/**
 * Builds the statement that a source runs at each read, for PostgreSQL 10 and newer. `answer.ts` lists its columns.
 *
 * It answers with a row for each follower, or with one row without a follower. Every column is text that depends neither on
 * settings of the session nor on type parsers. Positions are bytes of WAL since `0/0`, times are microseconds since 1970.
 *
 * - The followers are counted before the node's position is read. In the other order, what a follower replays in between
 *   would be a negative lag. PostgreSQL evaluates `follower` once, because two queries refer to it.
 * - On a standby the newest position is the later of received and replayed: one that restores from an archive receives
 *   nothing. After a restart it is unknown until the standby has replayed all that it has and asks its primary for more.
 * - The timeline of a primary comes from its WAL file. pg_control_checkpoint() is late after a promotion.
 * - A node knows the names that it had, or would have, as a follower. A primary on timeline 1 was never a follower.
 * - A walsender in state `backup` copies files for a base backup. One that has reported what it wrote and not what it
 *   replayed only receives WAL: pg_receivewal, or the WAL stream of a base backup.
 * - The slots with `_sync_` copy a table for a new subscription, and disappear soon. They are permanent since PostgreSQL 14.
 * - On a standby, these logical slots have no consumer: those that are copies of a slot of the primary (`synced`), those
 *   of a former primary (`failover`) while they are not active, and all before PostgreSQL 16, which Patroni copies.
 *   After a promotion, `synced` may remain.
 * - A slot that was invalidated keeps no WAL, although it still has a `restart_lsn`.
 * - A session can hold temporary slots next to the slot that it streams from. SQL can read a logical slot.
 * - `reply_time` (12), `wal_status` (13), `conflicting` (16), `synced`, `failover` and `invalidation_reason` (17) are looked
 *   up by name.
 */
export function buildQuery({ control, serializable }: QueryOptions): string {
  return `${serializable ? 'set transaction isolation level read committed;' : ''}
with slot as (
  select p.*, to_jsonb(p) as newer from pg_catalog.pg_replication_slots p
),
follower as (
  select
    r.pid || coalesce(' ' || ${micros('r.backend_start')}, '') as connection,
    r.state, r.backend_start, r.pid,
    nullif(r.application_name, '') as application_name,
    host(r.client_addr) as client_addr,
    case when not s.temporary then s.slot_name end as slot_name,
    coalesce(s.slot_type, 'none') as slot_type,
    r.pid is not null or (s.active and s.slot_type = 'logical') as connected,
    s.slot_type is distinct from 'logical' and r.write_lsn is not null and r.replay_lsn is null as receives_only,
    s.newer ->> 'wal_status' as wal_status,
    lost.reason as lost,
    case when s.slot_type = 'logical' then s.confirmed_flush_lsn
      when r.pid is not null then r.replay_lsn else s.restart_lsn end - '0/0' as applied,
    r.flush_lsn - '0/0' as received,
    case when not s.temporary and lost.reason is null then s.restart_lsn end - '0/0' as retained,
    ${micros(`(to_jsonb(r) ->> 'reply_time')::timestamptz`)} as reply
  from pg_catalog.pg_stat_replication r
  full join slot s on s.active_pid = r.pid
  left join lateral (
    select coalesce(s.newer ->> 'invalidation_reason', case s.newer ->> 'conflicting' when 'true' then 'conflicting' end,
      case s.newer ->> 'wal_status' when 'lost' then 'wal_removed' end) as reason
  ) lost on true
  where r.state is distinct from 'backup'
    and (r.pid is not null or not s.temporary)
    and coalesce(s.slot_name, '') !~ case when s.temporary then '_[0-9]+_sync_[0-9]+$' else '^pg_[0-9]+_sync_[0-9]+_' end
    and (r.pid is not null or s.slot_type = 'physical' or not pg_is_in_recovery() or (
      current_setting('server_version_num')::int >= 160000
      and s.newer ->> 'synced' is distinct from 'true'
      and (s.active or s.newer ->> 'failover' is distinct from 'true')))
    and not exists (select from slot o where s.temporary and o.active_pid = s.active_pid
      and (not o.temporary or o.slot_name < s.slot_name))
),
node as (
  select
    (select count(*) from follower) as followers,
    pg_is_in_recovery() as in_recovery,
    case when not pg_is_in_recovery() then pg_current_wal_lsn()
      when pg_last_wal_receive_lsn() is not null or coalesce(current_setting('primary_conninfo', true), '') = ''
      then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) end - '0/0' as leader,
    ${control ? '(select system_identifier from pg_control_system())' : `'unknown'`} as system_identifier,
    case when pg_is_in_recovery() then (select received_tli from pg_catalog.pg_stat_wal_receiver)
      else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint end as timeline,
    ${control ? '(select timeline_id from pg_control_checkpoint())' : '0'} as restart_timeline,
    ${micros('pg_postmaster_start_time()')} as started,
    nullif(current_setting('cluster_name', true), '') as cluster_name,
    nullif(current_setting('primary_slot_name', true), '') as own_slot,
    case when pg_has_role('pg_read_all_settings', 'usage') then
      substring(current_setting('primary_conninfo', true) from 'application_name\\s*=\\s*''?([^''&\\s]+)')
    end as own_application
)
select
  quote_ident(current_user)::text as role_name,
  ${asText('node', 'in_recovery leader system_identifier timeline restart_timeline started')},
  ${asText('node', 'cluster_name own_slot own_application')},
  ${asText('follower', 'connection state application_name client_addr slot_name slot_type connected')},
  ${asText('follower', 'receives_only wal_status lost applied received retained reply')}
from node left join follower on true order by follower.backend_start, follower.pid, follower.slot_name`
}

function micros(timestamp: string): string {
  return `(extract(epoch from ${timestamp}) * 1000000)::bigint`
}

function asText(table: string, columns: string): string {
  const texts = columns.split(' ').map((column) => `${table}.${column}::text as ${column}`)
  return texts.join(', ')
}
