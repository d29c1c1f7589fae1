"""The fault catalogue's sixty rows (reliability 1), and where each is proven.

A row names tests, by file and function below tests/; one that has none, or whose proof is for a later issue
in part, says why. test_catalogue.py holds that they exist.
"""

from typing import NamedTuple

WIRE = "faults/test_rows_of_the_wire.py"
LIFE = "faults/test_rows_of_an_orders_life.py"
SYMBOLS = "faults/test_rows_of_symbols.py"
STREAMS = "faults/test_rows_of_the_streams.py"
PROCESS = "faults/test_rows_of_the_process.py"
NET = "faults/test_rows_of_the_net.py"
MARKET = "faults/test_rows_of_the_market.py"
RENEWAL = "market_service/test_renewal.py"
MANY = "faults/test_rows_of_many.py"
RUNS = "faults/test_runs.py"
SILENCE = f"{WIRE}::test_rows_01_02_03_57_silence_is_resolved_by_proof_and_nothing_is_sent_again"
PUSHES = f"{STREAMS}::test_rows_10_to_13_25_whatever_befalls_pushes_the_books_agree"
EVERYWHERE = f"{PROCESS}::test_rows_16_37_40_an_error_nobody_expects_at_any_place_costs_no_order_and_no_trade"


class Row(NamedTuple):
    """A row: its number and name, the tests, and what they leave open."""

    number: int
    fault: str
    tests: tuple[str, ...]
    reason: str = ""


def row(number: int, fault: str, *tests: str, reason: str = "") -> Row:
    return Row(number, fault, tests, reason)


ROWS = (
    row(1, "accepted, response lost", SILENCE),
    row(2, "request lost before arrival", SILENCE),
    row(3, "5xx and ambiguous codes", SILENCE, f"{WIRE}::test_row_03_an_ambiguous_code_is_never_a_rejection"),
    row(
        4,
        "engine slower than our verdict",
        f"{WIRE}::test_row_04_an_engine_that_is_slower_than_our_verdict_is_adopted_and_its_buy_cancelled",
    ),
    row(5, "429 with Retry-After", f"{WIRE}::test_rows_05_06_nobody_asks_anything_during_a_ban"),
    row(
        6,
        "418 ban, 403 WAF",
        f"{WIRE}::test_rows_05_06_nobody_asks_anything_during_a_ban",
        "order_service/test_budget_of_the_service.py"
        "::test_a_restarted_service_asks_nothing_during_a_ban_that_it_was_told_before",
    ),
    row(
        7,
        "-1015 order count",
        f"{WIRE}::test_row_07_an_order_limit_refuses_one_account_and_no_other",
        "order_service/test_order_counts.py::test_an_oto_costs_two_orders_until_a_fill",
    ),
    row(
        8,
        "clock skew",
        f"{WIRE}::test_row_08_a_clock_that_steps_is_a_definite_no_once_and_measured_anew",
        "order_service/test_budget_of_the_service.py::test_nothing_is_placed_while_the_venues_time_is_not_known",
        "order_service/test_clocks.py::test_a_clock_set_forward_after_the_send_shortens_no_proof",
        "order_service/test_clocks.py::test_a_clock_set_back_after_the_send_keeps_no_doubt",
    ),
    row(
        9,
        "market stream stalls silently",
        f"{NET}::test_row_09_a_half_open_line_makes_the_price_old_and_not_wrong_and_it_comes_back",
        "market_service/test_prices.py::test_a_silent_socket_that_no_read_vouches_for_is_replaced",
    ),
    row(10, "user stream stalls, one frame dropped", PUSHES),
    row(
        11,
        "reconnect gap, fills missed",
        f"{STREAMS}::test_row_11_fills_in_the_gap_of_a_stream_are_found_by_the_sweep_after_it",
        f"{NET}::test_row_11_a_line_that_is_cut_again_and_again_costs_no_order_and_no_trade",
    ),
    row(12, "duplicate push", PUSHES),
    row(13, "out-of-order push", PUSHES),
    row(14, "push before REST answer", f"{WIRE}::test_row_14_a_push_that_comes_before_the_answer_is_matched"),
    row(
        15,
        "inferred fill and real fill",
        f"{LIFE}::test_row_15_no_fill_is_made_up_while_trades_lag_behind_the_status",
    ),
    row(16, "fill marked seen before it is applied", EVERYWHERE),
    row(
        17,
        "partial fill racing cancel",
        f"{LIFE}::test_row_17_half_filled_while_its_cancel_travelled_the_rest_is_a_residual",
    ),
    row(
        18,
        "cancel rejected, already filled",
        f"{LIFE}::test_row_18_a_cancel_refused_because_it_filled_is_no_absence",
    ),
    row(
        19,
        "cancel outcome unknown",
        f"{WIRE}::test_row_19_a_cancel_whose_answer_is_lost_is_sent_again_until_the_venues_word",
    ),
    row(
        20,
        "pending leg rejected at trigger",
        f"{LIFE}::test_row_20_a_sell_refused_at_its_release_leaves_a_residual_that_can_be_sold",
    ),
    row(
        21,
        "working leg partially filled, then expires",
        f"{LIFE}::test_row_21_a_leg_filled_in_part_that_then_expires_ends_with_its_residual",
    ),
    row(
        22,
        "fee makes base less than the pending quantity",
        f"{LIFE}::test_row_22_a_fee_in_base_never_makes_the_sell_larger_than_what_is_there",
    ),
    row(
        23,
        "price range rule expires taker; unknown word",
        f"{LIFE}::test_rows_23_24_an_order_that_expires_as_it_arrives_frees_its_slot_whatever_the_reason",
        f"{LIFE}::test_row_23_a_status_that_we_do_not_know_is_not_an_end",
    ),
    row(
        24,
        "expired instantly or by the exchange",
        f"{LIFE}::test_rows_23_24_an_order_that_expires_as_it_arrives_frees_its_slot_whatever_the_reason",
        f"{LIFE}::test_row_24_a_resting_order_that_the_venue_ends_is_over",
    ),
    row(
        25,
        "subscription ends",
        PUSHES,
        f"{STREAMS}::test_row_25_a_terminated_subscription_is_a_gap_and_is_made_anew",
    ),
    row(
        26,
        "24 h disconnect, serverShutdown",
        f"{STREAMS}::test_row_26_a_server_that_goes_and_the_end_of_the_day_cost_no_news",
        f"{RENEWAL}::test_a_day_passes_without_a_moment_without_a_connection_or_an_old_price",
        f"{RENEWAL}::test_a_server_that_says_that_it_goes_is_left_before_it_is_gone",
        f"{RENEWAL}::test_where_no_successor_can_be_had_the_old_connection_serves_until_it_ends",
    ),
    row(
        27,
        "reconnect storm",
        f"{STREAMS}::test_row_27_a_storm_of_reconnects_stays_below_the_venues_limit",
        "order_service/test_rate_budget.py::test_connections_are_at_most_two_hundred_in_any_five_minutes",
    ),
    row(
        28,
        "halt, break, cancel only",
        f"{SYMBOLS}::test_row_28_a_halted_symbol_takes_cancels_and_no_orders_and_opens_again",
        "strategy_service/test_rounds.py::test_a_halted_symbol_waits",
    ),
    row(
        29,
        "filters change mid-run",
        f"{SYMBOLS}::test_row_29_filters_that_change_are_a_definite_no_and_then_obeyed",
    ),
    row(
        30,
        "unknown filter, enum, field",
        f"{SYMBOLS}::test_row_30_unknown_fields_pass_and_unknown_filters_and_words_halt_the_symbol",
    ),
    row(
        31,
        "price spike",
        f"{MARKET}::test_row_31_a_price_that_jumps_stops_every_buy_and_calm_resumes_them",
        "strategy_service/test_rounds.py::test_a_swing_above_the_limit_pauses_and_calm_resumes_by_itself",
        "paper_exchange/test_faults_of_the_market.py::test_a_spike_moves_every_print_and_goes_again",
    ),
    row(
        32,
        "stale price",
        "order_service/test_place.py::test_the_prices_age_counts_at_the_commit",
        "market_service/test_prices.py::test_a_stalled_stream_and_failing_reads_turn_the_price_stale_and_back",
    ),
    row(
        33,
        "crossed book, depth gap",
        f"{NET}::test_rows_31_33_a_crossed_book_and_lost_frames_never_become_a_price",
        reason="no book is read: prices come from trades alone, so there is no sequence to check and no "
        "book that could be crossed (market_service)",
    ),
    row(
        34,
        "insufficient balance mid-run",
        f"{LIFE}::test_row_34_a_withdrawal_stops_one_users_buys_and_a_deposit_resumes_them",
    ),
    row(35, "dust", f"{LIFE}::test_row_35_a_fill_too_small_to_be_sold_stays_uncovered"),
    row(
        36,
        "key revoked, one user",
        f"{LIFE}::test_row_36_a_revoked_key_stops_its_user_alone_and_its_orders_are_left",
    ),
    row(
        37,
        "journal locked",
        "order_service/test_journal_disk.py::test_row_37_a_busy_file_sends_nothing_and_is_got_over",
        EVERYWHERE,
    ),
    row(
        38,
        "disk full, EIO, read-only",
        "order_service/test_journal_disk.py"
        "::test_row_38_an_input_output_error_anywhere_fails_the_batch_and_not_the_writer",
        "order_service/test_journal_disk.py::test_row_38_a_disk_that_is_full_loses_nothing_and_keeps_no_half",
    ),
    row(
        39,
        "corrupt or torn journal",
        "order_service/test_journal_damage.py::test_damage_anywhere_is_refused_or_changed_nothing_that_is_kept",
    ),
    row(
        40,
        "kill -9 at every await",
        f"{RUNS}::test_an_order_service_killed_at_any_failpoint_recovers_and_trades_on",
        f"{RUNS}::test_a_strategy_service_killed_as_it_acts_on_a_wish_goes_on_as_wished",
        EVERYWHERE,
        reason="in small here; `make kills` does every failpoint, the simulation every callback",
    ),
    row(
        41,
        "two instances",
        "order_service/test_journal.py::test_a_second_instance_on_the_same_file_is_refused",
        "order_service/test_journal_disk.py"
        "::test_rows_41_42_a_stopped_old_instance_and_a_new_one_never_both_write",
    ),
    row(
        42,
        "paused zombie",
        f"{NET}::test_row_42_a_machine_that_stood_still_before_sending_sends_nothing",
        "order_service/test_journal.py::test_a_zombie_of_an_older_epoch_writes_nothing",
    ),
    row(
        43,
        "invalid configuration reload",
        "strategy_service/config/test_layers.py::test_a_bad_file_never_replaces_a_good_one",
        "strategy_service/test_servicer.py::test_a_bad_file_names_every_problem_and_changes_nothing",
    ),
    row(
        44,
        "reload changes targets or users mid-cycle",
        "strategy_service/test_supervisor.py"
        "::test_a_reload_acts_at_the_next_cycle_drains_the_removed_and_starts_the_added",
        "strategy_service/test_reload_time.py"
        "::test_it_acts_within_a_second_and_no_later_round_has_old_values",
        "strategy_service/test_reload_time.py::test_an_order_that_is_out_keeps_its_price_and_its_timeout",
    ),
    row(
        45,
        "stop during in-flight order",
        f"{NET}::test_rows_45_46_signals_at_any_moment_are_got_over",
        "strategy_service/test_ending.py::test_a_drain_wishes_the_order_in_doubt_gone_and_names_it",
        "strategy_service/test_ending.py::test_every_stop_is_over_within_the_fill_timeout_and_a_second",
        "strategy_service/test_stopping_time.py"
        "::test_every_stop_answers_within_the_fill_timeout_and_a_second",
    ),
    row(
        46,
        "Ctrl+C twice, SIGTERM then SIGKILL",
        f"{NET}::test_rows_45_46_signals_at_any_moment_are_got_over",
    ),
    row(
        47,
        "start order, restarts, cut calls",
        "strategy_service/test_supervisor.py"
        "::test_when_the_order_service_goes_loops_are_blocked_and_go_on_when_it_is_back",
        "strategy_service/test_supervisor.py::test_lost_requests_and_answers_never_become_second_orders",
        f"{RUNS}::test_an_order_service_killed_at_any_failpoint_recovers_and_trades_on",
    ),
    row(
        48,
        "intent id reused with other parameters",
        "order_service/test_place.py::test_the_same_request_with_other_content_is_refused",
    ),
    row(
        49,
        "slow consumer",
        "order_service/test_servicer.py::test_a_reader_that_fell_behind_is_told_to_begin_again",
        "market_service/test_watch.py::test_a_slow_reader_gets_the_newest_of_each_symbol_and_nothing_else",
    ),
    row(
        50,
        "10k users start together",
        "order_service/test_rate_budget.py"
        "::test_after_a_ban_cancels_go_before_queries_before_placements_before_sweeps",
        "order_service/test_budget_of_the_service.py::test_sweeps_of_many_users_leave_the_weight_for_doubt",
        f"{MANY}::test_row_50_ten_thousand_users_starting_together_break_no_limit_and_delay_no_doubt",
        reason="on virtual time; how late ten thousand loops' ticks are on a real processor (p99) is for the "
        "performance issue",
    ),
    row(
        51,
        "one loop crashes or never yields",
        "strategy_service/test_restarts.py::test_one_users_crash_never_delays_another_and_it_starts_again",
        "strategy_service/test_restarts.py::test_five_crashes_need_a_person",
        "strategy_service/test_isolation.py"
        "::test_row_51_rounds_that_never_wait_let_everybody_else_have_a_turn",
        "otopilot/test_loop_watch.py"
        "::test_row_51_a_loop_that_never_yields_is_named_with_its_stack_while_it_does_not",
        "otopilot/test_loop_watch.py"
        "::test_row_51_a_service_whose_loop_stands_still_is_not_serving_until_it_turns_again",
    ),
    row(
        52,
        "memory and descriptors over days",
        f"{MANY}::test_row_52_a_month_leaves_nothing_behind_but_its_totals",
        "order_service/test_guard.py::test_strangers_fingerprints_are_forgotten_though_nobody_places",
        "order_service/test_feed.py::test_waiting_ends_with_news_or_with_its_time_and_leaves_nothing_behind",
        reason="the order service's, over a virtual month: containers, tasks, descriptors; the memory of "
        "real processes over real days is the performance issue's soak",
    ),
    row(
        53,
        "float, rounding",
        "otopilot/test_money.py::test_parse_gives_an_amount_or_a_value_error",
        "otopilot/test_instrument.py::test_what_is_sold_is_covered_by_what_was_received",
        "strategy_service/config/test_properties.py::test_an_amount_is_exactly_what_was_written",
    ),
    row(
        54,
        "day rollover",
        "order_service/test_scope.py::test_a_day_scope_starts_at_midnight_utc_and_open_buys_stay_reserved",
    ),
    row(
        55,
        "symbol delisted, renamed, gone",
        f"{SYMBOLS}::test_row_55_a_symbol_that_is_withdrawn_or_gone_places_nothing",
        "market_service/test_instruments.py::test_an_unknown_token_names_close_ones",
    ),
    row(
        56,
        "user trades by hand",
        f"{LIFE}::test_row_56_an_order_by_hand_is_counted_in_volume_and_never_touched",
    ),
    row(
        57,
        "garbage payload",
        SILENCE,
        PUSHES,
        "order_service/venues/test_garbage.py::test_any_answer_ends_in_a_value_or_one_of_the_three_failures",
        "order_service/venues/test_garbage.py::test_any_frame_is_news_or_a_failure_that_reconnects",
        "market_service/test_parse.py::test_no_frame_whatever_raises_anything_else",
        "strategy_service/config/test_properties.py::test_any_bytes_are_refused_with_a_complaint",
        "system/test_every_rpc.py::test_row_57_whatever_is_asked_is_answered_or_refused_in_definite_words",
    ),
    row(58, "SQL words in an id", f"{PROCESS}::test_row_58_ids_are_hex_and_fixed_letters"),
    row(
        59,
        "caller cancelled in mid-call",
        f"{PROCESS}::test_row_59_a_caller_cancelled_at_any_await_leaves_no_order_half_sent",
        "order_service/test_place.py::test_a_caller_that_goes_away_at_any_moment_leaves_nothing_half_done",
    ),
    row(
        60,
        "negative, absurd server data",
        f"{WIRE}::test_row_60_absurd_data_is_never_booked_and_healed_by_the_next_reading",
        f"{WIRE}::test_row_60_a_symbol_whose_rules_are_absurd_is_paused",
        f"{WIRE}::test_row_60_absurd_rules_never_replace_good_ones",
        f"{WIRE}::test_row_60_an_absurd_last_price_places_nothing",
        "market_service/test_parse.py::test_a_frame_that_cannot_be_a_trade_is_refused",
    ),
)
