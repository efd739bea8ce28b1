/**
 * Builds the statement that a source runs at each read, for PostgreSQL 10 and newer. `rows.ts` lists its columns.
 *
 * It answers with a row for each follower, or with one row without a follower. Every column is text that depends neither on
 * settings of the session nor on type parsers. Positions are bytes of WAL since `0/0`, times are microseconds since 1970.
 *
 * - The followers are counted before the node's position is read. In the other order, what a follower replays in between
 *   would be a negative lag. PostgreSQL evaluates `follower` once, because two queries refer to it.
 * - On a standby the newest position is the later of received and replayed: one that restores from an archive receives
 *   nothing. After a restart it is unknown until the standby has replayed all that it has and asks its primary for more.
 * - The timeline of a primary comes from its WAL file. pg_control_checkpoint() is late after a promotion.
 * - A walsender in state `backup` copies files for a base backup. One that has reported what it wrote and not what it
 *   replayed only receives WAL: pg_receivewal, or the WAL stream of a base backup.
 * - The slots with `_sync_` copy a table for a new subscription, and are gone soon. They are permanent since PostgreSQL 14.
 * - On a standby, a `synced` slot is a copy of a slot of the primary. After a promotion the flag may remain.
 * - A session can hold temporary slots next to the slot that it streams from. SQL can read a logical slot.
 * - `reply_time` (12), `wal_status` (13), `synced` and `invalidation_reason` (17) are looked up by name.
 *
 * @param control whether the role may call the pg_control_… functions. Without them the epoch is the timeline alone.
 */
export function buildQuery(control: boolean): string {
  return `
with follower as (
  select
    r.pid || coalesce(' ' || ${micros('r.backend_start')}, '') as connection,
    r.state, r.backend_start, r.pid,
    nullif(r.application_name, '') as application_name,
    host(r.client_addr) as client_addr,
    case when not s.temporary then s.slot_name end as slot_name,
    coalesce(s.slot_type, 'none') as slot_type,
    r.pid is not null or (s.active and s.slot_type = 'logical') as connected,
    s.slot_type is distinct from 'logical' and r.write_lsn is not null and r.replay_lsn is null as receives_only,
    to_jsonb(s) ->> 'wal_status' as wal_status,
    case to_jsonb(s) ->> 'wal_status' when 'lost'
      then coalesce(to_jsonb(s) ->> 'invalidation_reason', 'wal_removed') end as lost,
    case when s.slot_type = 'logical' then s.confirmed_flush_lsn
      when r.pid is not null then r.replay_lsn else s.restart_lsn end - '0/0' as applied,
    r.flush_lsn - '0/0' as received,
    case when not s.temporary then s.restart_lsn end - '0/0' as retained,
    ${micros(`(to_jsonb(r) ->> 'reply_time')::timestamptz`)} as reply
  from pg_catalog.pg_stat_replication r
  full join pg_catalog.pg_replication_slots s on s.active_pid = r.pid
  where r.state is distinct from 'backup'
    and (r.pid is not null or not s.temporary)
    and coalesce(s.slot_name, '') !~ case when s.temporary then '_[0-9]+_sync_[0-9]+$' else '^pg_[0-9]+_sync_[0-9]+_' end
    and (r.pid is not null or not pg_is_in_recovery() or coalesce(to_jsonb(s) ->> 'synced', 'false') = 'false')
    and not exists (select from pg_catalog.pg_replication_slots o where s.temporary and o.active_pid = s.active_pid
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
    ${micros('pg_postmaster_start_time()')} as started
)
select
  quote_ident(current_user)::text as role_name,
  ${asText('node', 'in_recovery leader system_identifier timeline restart_timeline started')},
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
