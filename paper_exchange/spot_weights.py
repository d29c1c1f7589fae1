"""What a Spot call weighs by what it asks (binance-spot 2.1, 3.5)."""

from paper_exchange.spot_params import Params


def depth(params: Params) -> int:
    limit = _number(params, "limit", 100)
    return next((weight for most, weight in ((100, 5), (500, 25), (1000, 50)) if limit <= most), 250)


def ticker(params: Params) -> int:
    return 2 if "symbol" in params else 4


def day(params: Params) -> int:
    if "symbol" in params:
        return 2
    if "symbols" not in params:
        return 80
    count = params.peek("symbols").count(",") + 1
    return 2 if count <= 20 else 40 if count <= 100 else 80


def open_orders(params: Params) -> int:
    return 6 if "symbol" in params else 80


def trades(params: Params) -> int:
    return 5 if "orderId" in params else 20


def test(params: Params) -> int:
    return 20 if params.peek("computeCommissionRates") == "true" else 1


def _number(params: Params, name: str, default: int) -> int:
    raw = params.peek(name)
    return int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 10 else default


def windows(params: Params) -> int:
    """Four a symbol, 200 at most."""
    return min(200, 4 * _symbols(params))


def rules(params: Params) -> int:
    """Two a symbol, 40 at most and for all."""
    asked = "symbol" in params or "symbols" in params
    return min(40, 2 * _symbols(params)) if asked else 40


def prevented(params: Params) -> int:
    return 2 if "preventedMatchId" in params else 20


def _symbols(params: Params) -> int:
    return params.peek("symbols").count(",") + 1
