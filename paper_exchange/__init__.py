"""Binance imitated from outside: one server, a world on disk, an oracle inside.

Shares no code with the services, so it shares no mistake with them. `python -m paper_exchange
--help` says how to start it alone; its first line on standard output is
`paper-exchange ready port=<n> world=<id>`.

Layers, each knowing only those above it:
  model numbers config faults           records, exact decimals, settings, fault rules
  spoiling match_faults conditions      what rules do to payloads, to orders, to a venue's symbols and clock
  matching price_path tape market       one symbol: book, path, public record
  price_range settlement records        how far a taker goes; a match's money; fresh orders and lists
  accounts filters order_lists oracle   money, filters, life of a list, self-match count
  store state engine exchange           the world, what a step changes, entry points
  http streams connections              requests, answers and frames as values; who may connect
  alpha_* spot_* control_api world      surfaces over the exchange, all of it without a network
  server __main__                       sockets, wall clock, process

Spot takes LIMIT, LIMIT_MAKER and MARKET orders, OTO and OPO lists, cancelReplace and amend, and
HMAC, Ed25519 and RSA keys. Stop, iceberg and pegged orders, OCO, OTOCO and OPOCO lists get the
venue's "not supported", DECREMENT and TRANSFER its "does not allow". What the venue's documents
leave open is a switch in SpotSettings.

Control API (JSON, amounts as decimal strings):
  GET    /control/world                 {world_id, now, frozen, symbols}
  POST   /control/accounts              {user_id, venue, managed, balances?, key_kind?, public_key?};
                                        idempotent; answers {user_id, venue, managed, credential},
                                        credential being {kind: session, headers} or {kind: hmac,
                                        api_key, secret}. On Spot, key_kind ed25519 or rsa with a
                                        PEM public_key makes the account's key one of that kind:
                                        {kind, api_key}; the private half stays with the caller.
                                        permissions, key_trades and trade_group say what a Spot
                                        account may trade, whether its key may, and with whom it
                                        must not trade
  POST   /control/freeze, /unfreeze     matching and price paths stop; queries and cancels go on
  GET    /control/report                users: per (venue, symbol, user) accepted_requests,
                                        accepted_lists, orders, open_orders, sides, fees; totals;
                                        accounts with balances; connections opened and
                                        refused; self_matches
  GET    /control/orders, /trades       ?user_id= &venue=: everything, oldest first
  POST   /control/price                 {symbol, price}: pins the path; price null lets it go
  POST   /control/deposit               {user_id, venue, asset, amount}; negative withdraws
  POST   /control/lock                  the same; another product of the venue locks, or lets go
  POST   /control/orders                {user_id, venue, symbol, side, price, quantity}: an order by
                                        hand, as its owner would give it at the venue
  GET    /control/faults                {faults, ended}: the rules with ids and how often they struck,
                                        and the newest whose time is over
  POST   /control/faults                a rule as in faults.FaultRule; answers {id}. docs/faults.md says
                                        which kind stands for which fault
  DELETE /control/faults                all, or ?id=
"""
