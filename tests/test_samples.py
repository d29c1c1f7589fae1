"""One table: each of the venues' own payloads in tests/fixtures, and the test that reads or answers it.

The samples are the examples on the venues' pages and captures of their answers; what is named
`synthetic` or `composed` was put together from those. What the paper exchange answers is compared
with its sample by keys and JSON types; what it refuses on purpose is read by the adapter.
"""

import re
from pathlib import Path

TESTS = Path(__file__).parent
FIXTURES = TESTS / "fixtures"
VENUES = ("spot", "alpha")

# Test file, venue, and the samples it covers.
TABLE: list[tuple[str, str, str]] = [
    (
        "market_service/test_parse.py",
        "alpha",
        "public_exchange_info_2026-05_symbol",
    ),
    (
        "order_service/venues/test_spot_foreign_orders.py",
        "spot",
        "rest_order_full_pegged rest_order_query_stp_decrement_still_open rest_orderlist_oco "
        "rest_orderlist_otoco",
    ),
    (
        "paper_exchange/test_alpha_shapes.py",
        "alpha",
        "errors private_alpha_wallet private_cancel private_listen_key private_open_orders "
        "private_order_history private_order_place private_oto_place private_user_score "
        "private_user_trades private_user_volume private_wallet_assets public_agg_klines "
        "public_agg_trades public_exchange_info_2025-10 public_fee_rate public_from_asset "
        "public_full_depth public_full_depth_crossed public_klines public_ticker "
        "public_token_list",
    ),
    (
        "paper_exchange/test_alpha_streams.py",
        "alpha",
        "stream_private_orders stream_public",
    ),
    (
        "paper_exchange/test_spot_changes.py",
        "spot",
        "rest_cancel_replace_400_both_failed rest_cancel_replace_400_cancel_failed_stop "
        "rest_cancel_replace_409_cancel_failed_allow rest_cancel_replace_409_new_failed "
        "rest_cancel_replace_success rest_error_cancel_restrictions_not_met "
        "rest_order_amend_in_list rest_order_amend_single rest_order_amendments",
    ),
    (
        "paper_exchange/test_spot_door.py",
        "spot",
        "wsapi_error_401_session_revoked",
    ),
    (
        "paper_exchange/test_spot_errors.py",
        "spot",
        "rest_error_body rest_error_cancel_restrictions_invalid rest_error_catalogue",
    ),
    (
        "paper_exchange/test_spot_history.py",
        "spot",
        "rest_error_order_archived rest_my_prevented_matches rest_my_prevented_matches_expire_both",
    ),
    (
        "paper_exchange/test_spot_lifetimes.py",
        "spot",
        "stream_server_shutdown_combined stream_server_shutdown_raw uds_external_lock_update "
        "wsapi_event_server_shutdown",
    ),
    (
        "paper_exchange/test_spot_limits.py",
        "spot",
        "rest_error_too_many_orders",
    ),
    (
        "paper_exchange/test_spot_rules.py",
        "spot",
        "filters_all_examples rest_execution_rules rest_my_filters rest_reference_price "
        "rest_reference_price_never_set_error rest_reference_price_null stream_reference_price",
    ),
    (
        "paper_exchange/test_spot_shapes.py",
        "spot",
        "composed_rest_exchange_info_one_symbol rest_account rest_account_commission "
        "rest_agg_trades rest_all_orders rest_avg_price rest_book_ticker_many "
        "rest_book_ticker_one rest_cancel_all_open_orders rest_depth rest_klines rest_my_trades "
        "rest_open_orders rest_order_ack rest_order_cancel rest_order_full "
        "rest_order_full_market_expired rest_order_full_stp_expire_both "
        "rest_order_full_stp_expire_maker_taker_rests rest_order_query "
        "rest_order_query_expired_in_match rest_order_result rest_orderlist_all "
        "rest_orderlist_cancel rest_orderlist_open rest_orderlist_opo rest_orderlist_oto "
        "rest_orderlist_query rest_ping rest_rate_limit_order rest_ticker_24hr_full "
        "rest_ticker_24hr_mini rest_ticker_price_many rest_ticker_price_one rest_time rest_trades "
        "synthetic_rest_orderlist_oto_fok_unfilled",
    ),
    (
        "paper_exchange/test_spot_signing.py",
        "spot",
        "signing_vectors_hmac_sha256 wsapi_session_logon_response",
    ),
    (
        "paper_exchange/test_spot_streams.py",
        "spot",
        "stream_agg_trade stream_avg_price stream_book_ticker stream_combined_wrapper "
        "stream_depth_update stream_error_messages stream_get_property_request "
        "stream_get_property_response stream_kline stream_list_subscriptions_request "
        "stream_list_subscriptions_response stream_mini_ticker stream_partial_depth "
        "stream_set_property_request stream_set_property_response stream_subscribe_request "
        "stream_subscribe_response stream_ticker stream_trade stream_unsubscribe_request "
        "stream_unsubscribe_response",
    ),
    (
        "paper_exchange/test_spot_unsupported.py",
        "spot",
        "rest_error_stp_mode_not_allowed",
    ),
    (
        "paper_exchange/test_spot_user_data.py",
        "spot",
        "synthetic_uds_execution_report_canceled synthetic_uds_seq_oto_cancelled_before_fill "
        "synthetic_uds_seq_oto_pending_rejected_on_release "
        "synthetic_uds_seq_oto_place_partial_fill_release uds_balance_update "
        "uds_event_stream_terminated uds_outbound_account_position "
        "uds_seq_market_order_new_trade_trade_expired wsapi_uds_unsubscribe_response",
    ),
    (
        "paper_exchange/test_spot_ws_api.py",
        "spot",
        "wsapi_account_status_response wsapi_error_418_banned wsapi_exchange_info_response "
        "wsapi_order_cancel_response_whole_list wsapi_orderlist_place_oto_response "
        "wsapi_response_error",
    ),
    (
        "paper_exchange/test_spot_ws_samples.py",
        "spot",
        "uds_execution_report_expired uds_execution_report_new uds_execution_report_trade "
        "uds_list_status wsapi_account_status_request wsapi_event_envelope "
        "wsapi_exchange_info_request wsapi_order_cancel_request "
        "wsapi_order_cancel_response_single wsapi_order_place_request "
        "wsapi_order_place_response_ack wsapi_order_place_response_full "
        "wsapi_order_place_response_result wsapi_order_status_request wsapi_order_status_response "
        "wsapi_orderlist_cancel_request wsapi_orderlist_cancel_response "
        "wsapi_orderlist_place_oto_request wsapi_response_ok_order_place "
        "wsapi_session_logon_request wsapi_session_logout_request wsapi_session_logout_response "
        "wsapi_session_status_request wsapi_session_status_response "
        "wsapi_session_subscriptions_request wsapi_session_subscriptions_response "
        "wsapi_uds_subscribe_request wsapi_uds_subscribe_response "
        "wsapi_uds_subscribe_signature_request wsapi_uds_subscribe_signature_response "
        "wsapi_uds_unsubscribe_request",
    ),
]


def covered() -> dict[tuple[str, str], str]:
    """The test file of each sample of each venue."""
    found: dict[tuple[str, str], str] = {}
    for test, venue, names in TABLE:
        for name in names.split():
            assert (venue, name) not in found, f"{name} is listed twice"
            found[venue, name] = test
    return found


def test_each_sample_is_in_the_table_and_nothing_else_is() -> None:
    files = {(venue, file.stem) for venue in VENUES for file in (FIXTURES / venue).iterdir()}
    assert covered().keys() == files


def test_each_test_that_is_named_reads_its_samples() -> None:
    texts = {test: (TESTS / test).read_text(encoding="utf-8") for test, _, _ in TABLE}
    unread = [
        (test, name)
        for (venue, name), test in covered().items()
        if not re.search(rf'["/]{re.escape(name)}(\.json)?"', texts[test])
    ]
    assert unread == []
