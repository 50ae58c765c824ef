//! Faults on real Envoys, with an upstream that counts: whatever fails, no request passes that the
//! policy does not let pass, and what recovers does so by itself or by the next configuration.
//!
//! Figures (counts, times until recovery) are printed, not asserted: run with `--nocapture` to see
//! them. SECURITY.md has a table of them.

#[path = "resilience/bad_plugin.rs"]
mod bad_plugin;
#[path = "resilience/caller.rs"]
mod caller;
#[path = "resilience/connections/mod.rs"]
mod connections;
#[path = "resilience/flips.rs"]
mod flips;
#[path = "resilience/gateway.rs"]
mod gateway;
#[path = "resilience/gauges.rs"]
mod gauges;
#[path = "resilience/logs.rs"]
mod logs;
#[path = "resilience/memory.rs"]
mod memory;
#[path = "resilience/peers.rs"]
mod peers;
#[path = "resilience/plugin.rs"]
mod plugin;
#[path = "resilience/shipped_module.rs"]
mod shipped_module;
#[path = "resilience/soak.rs"]
mod soak;
#[path = "resilience/traps.rs"]
mod traps;
#[path = "resilience/updates.rs"]
mod updates;
#[path = "resilience/upstream.rs"]
mod upstream;
#[path = "resilience/workers.rs"]
mod workers;

use connections::{
    flips as connection_flips, memory as connection_memory, traps as connection_traps,
    updates as connection_updates, workers as connection_workers,
};
use kit::envoys;

/// Emits a test for each scenario.
macro_rules! on {
    ($versions:path: $($subject:ident::$scenario:ident,)*) => {$(
        #[test]
        fn $scenario() {
            envoy_kit::versions::run($versions(), $subject::$scenario);
        }
    )*};
}

/// The same with the native library: what fails there is no VM.
mod native {
    use super::{envoys, flips, gauges, logs, memory, peers, updates};

    macro_rules! on {
        ($($subject:ident::$scenario:ident,)*) => {$(
            #[test]
            fn $scenario() {
                envoy_kit::versions::run_native(envoys::asked_for_at_length(), $subject::$scenario);
            }
        )*};
    }

    on! {
        updates::a_deleted_plugin_is_closed,
        updates::a_request_that_is_redirected_across_an_update_is_refused,
        peers::callers_that_leave_at_any_phase_leave_their_records,
        peers::upstreams_that_fail_at_any_phase_fail_their_requests_only,
        logs::a_stalled_reader_of_the_access_log_stalls_nothing,
        flips::every_answer_is_explained_by_one_of_two_flipping_policies,
        gauges::gauges_show_the_policy_in_force,
        memory::two_hundred_reloads_leave_the_memory_flat,
    }

    #[test]
    #[ignore = "takes a minute"]
    fn two_hundred_reloads_of_many_hosts_leave_the_memory_flat() {
        envoy_kit::versions::run_native(
            envoys::asked_for_at_length(),
            memory::two_hundred_reloads_of_many_hosts_leave_the_memory_flat,
        );
    }

    #[test]
    #[ignore = "asserts nothing: it prints figures"]
    fn what_a_large_policy_takes() {
        envoy_kit::versions::run_native(
            envoys::asked_for_at_length(),
            memory::what_a_large_policy_takes,
        );
    }
}

#[test]
#[ignore = "asserts nothing: it prints figures"]
fn what_a_large_policy_takes() {
    envoy_kit::versions::run(envoys::asked_for_at_length(), memory::what_a_large_policy_takes);
}

on! { envoys::asked_for:
    traps::a_trap_when_a_stream_begins_is_closed,
    traps::a_trap_at_request_headers_is_closed,
    traps::a_trap_in_the_allocator_is_closed,
    traps::what_a_failed_vm_allows_does_not_pass,
    traps::a_module_with_names_leaves_a_backtrace,
    traps::a_trap_when_a_stream_ends_is_closed,
    traps::running_out_of_memory_is_closed,
    workers::a_worker_that_cannot_configure_filters_nothing_without_the_guard,
    workers::a_worker_that_cannot_configure_refuses_everything_with_the_guard,
    workers::a_worker_whose_root_traps_answers_503,
    workers::a_configuration_for_another_vm_mends_a_failed_worker,
    workers::after_one_thread_failed_its_vm_takes_no_configuration,
    gauges::gauges_show_the_policy_in_force,
    updates::a_bad_update_leaves_the_old_policy_deciding,
    updates::a_bad_update_in_a_listener_leaves_the_old_policy_deciding,
    updates::a_bad_first_plugin_is_closed,
    updates::a_bad_first_plugin_in_a_listener_is_closed,
    updates::a_bad_plugin_in_a_bootstrap_does_not_start,
    updates::an_undelivered_plugin_is_closed,
    updates::a_deleted_plugin_is_closed,
    updates::a_plugin_that_comes_again_unchanged_is_not_tried_again,
    updates::a_plugin_whose_root_traps_is_accepted_and_closed,
    updates::while_a_plugin_is_bad_listeners_are_not_updated,
    updates::a_request_that_is_redirected_across_an_update_is_refused,
    peers::callers_that_leave_at_any_phase_leave_their_records,
    peers::upstreams_that_fail_at_any_phase_fail_their_requests_only,
    logs::a_stalled_reader_of_the_access_log_stalls_nothing,
    logs::a_stalled_reader_of_envoys_log_stalls_and_opens_nothing,
    logs::a_log_file_never_stalls,
    logs::without_lines_of_the_filter_nothing_stalls,
    connection_flips::what_stands_outlives_a_plugin_and_is_drained_with_its_listener,
    connection_flips::a_silent_connection_is_judged_by_the_policy_in_force,
    connection_traps::a_trap_when_a_connection_begins_is_closed,
    connection_traps::a_trap_at_a_new_connection_is_closed,
    connection_traps::a_trap_at_the_first_bytes_is_closed,
    connection_traps::a_trap_at_the_first_bytes_within_tls_is_closed,
    connection_traps::a_trap_at_an_answer_is_closed,
    connection_traps::a_trap_at_an_answer_within_tls_is_closed,
    connection_traps::a_trap_at_an_upstream_that_speaks_first_is_closed,
    connection_traps::a_trap_while_connections_wait_is_closed,
    connection_traps::a_trap_in_the_allocator_at_a_connection_is_closed,
    connection_traps::a_trap_when_a_connection_ends_is_closed,
    connection_traps::no_connection_passes_that_a_failed_vm_allows,
    connection_traps::what_stood_when_the_vm_failed_ends_at_its_next_byte,
    connection_updates::a_bad_update_leaves_the_old_policy_deciding_connections,
    connection_updates::a_bad_update_in_a_listener_leaves_the_old_policy_deciding_connections,
    connection_updates::a_bad_first_plugin_is_closed_for_connections,
    connection_updates::a_bad_first_plugin_in_a_listener_is_closed_for_connections,
    connection_updates::a_bad_connection_plugin_in_a_bootstrap_does_not_start,
    connection_updates::an_undelivered_plugin_is_closed_for_connections,
    connection_updates::a_deleted_plugin_is_closed_for_connections,
    connection_updates::a_connection_plugin_whose_root_traps_is_accepted_and_closed,
    connection_updates::a_network_filter_that_judges_requests_is_closed,
    connection_workers::a_worker_that_cannot_configure_filters_no_connection_without_the_guard,
    connection_workers::a_worker_that_cannot_configure_lets_no_connection_pass_the_guard,
    connection_workers::a_worker_whose_root_traps_closes_its_connections,
    connection_workers::a_configuration_for_another_vm_mends_a_worker_for_connections,
}

on! { envoys::asked_for_at_length:
    flips::every_answer_is_explained_by_one_of_two_flipping_policies,
    memory::two_hundred_reloads_leave_the_memory_flat,
    connection_flips::every_connection_is_explained_by_one_of_two_flipping_policies,
    connection_memory::two_hundred_reloads_for_connections_leave_the_memory_flat,
    connection_memory::connections_that_stand_keep_the_text_of_old_policies_alone,
}

/// Minutes; `./build.sh soak` runs it.
#[test]
#[ignore = "takes minutes"]
fn millions_of_requests_leave_the_memory_flat() {
    envoy_kit::versions::run(
        envoys::asked_for_at_length(),
        soak::millions_of_requests_leave_the_memory_flat,
    );
}
