"""A shop that plays Shopify: `shop ORDERS BUCKET POINTS RESTORE`; prints its URL, and at the end what it was asked."""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Serve until standard input ends."""
    from tests.shop_server import Shop, orders, running

    count, bucket, points, restore = (int(argument) for argument in sys.argv[1:])
    with running(Shop(orders(count), bucket=bucket, points=points, restore=restore)) as shop:
        print(shop.url, flush=True)
        sys.stdin.read()
        last = shop.times[-max(2, len(shop.times) // 3) :]  # by then what is free is used up
        rate = (len(last) - 1) / (last[-1] - last[0])
        print(json.dumps({"asked": len(shop.asked), "refused": shop.refused, "rate": rate}), flush=True)


if __name__ == "__main__":
    main()
