//! What every store must do, as tests that each store runs on itself.

mod executions;
mod records;
pub mod rows;
pub mod state;

use operon_engine::ports::StateStore;

pub use records::records;

use crate::memory::TestClock;

/// The whole contract of [`StateStore`]. The store must be empty and take its time from `clock`.
///
/// # Panics
/// When the store does something else.
pub async fn state(store: &dyn StateStore, clock: &TestClock) {
    // First, while no shard is due.
    state::due_shards_come_longest_overdue_first(store).await;
    // While there are no executions.
    state::lists_are_what_matches_newest_first(store).await;
    state::an_execution_is_created_once_and_keeps_its_content(store).await;
    state::derived_state_is_replaced_and_the_fixed_part_kept(store).await;
    state::labels_that_people_gave_survive_what_the_engine_writes(store).await;
    state::large_executions_come_back_whole(store).await;
    state::a_shard_is_written_only_with_its_version(store).await;
    state::a_conflict_drops_that_shard_only(store).await;
    state::writers_that_race_all_get_an_outcome_and_one_wins(store).await;
    state::an_attempt_comes_back_as_it_was_put(store).await;
    state::pages_of_attempts_are_in_the_order_of_their_keys(store).await;
    state::locks_are_conditional(store).await;
    state::queues_are_ordered_by_priority_and_age(store).await;
    state::pairs_expire_and_are_listed_by_prefix(store, clock).await;
    state::pairs_have_limits(store).await;
    state::cached_outputs_expire(store).await;
    state::revisions_count_the_plans_of_a_flow(store).await;
}
