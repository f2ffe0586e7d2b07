"""What to do about a connection that does not work, told from what its server, its driver or the network said."""

from __future__ import annotations

import re

_SIGNS = {
    "late": r"no answer within|timed? ?out|timeout expired|etimedout|stood still",
    "name": r"name or service not known|nodename nor servname|could not translate host|name resolution|getaddrinfo"
    r"|unknown (mysql )?server host|no address associated",
    "refused": r"connection refused|can't connect to|could not connect|econnrefused|errno 111|\(2003|can't be reached"
    r"|no route to host|network is unreachable",
    "tls": r"certificate|\bssl\b|\btls\b|wrong version number|handshake",
    "login": r"password authentication|authentication failed|access denied for user|invalid credentials|login failed"
    r"|incorrect username or password|ora-01017|\b401\b|unauthori[sz]ed|invalidaccesskeyid|signaturedoesnotmatch",
    "database": r"unknown database|database \S+ does not exist|cannot open database|ora-12514|unknown_database",
    "right": r"permission denied|access ?denied|\b403\b|forbidden|insufficient privilege|not authorized",
    "full": r"too many (clients|connections)|remaining connection slots|\(1040",
    "package": r"no module named|modulenotfounderror|unknown hook type|no usable hook",
}
_ADVICE = {
    "late": "The server could not be reached in time: look whether host and port are right, whether a firewall drops "
    "what is sent from where tasks run, and whether the server is overloaded.",
    "name": "The server could not be reached: its host name is not known where tasks run. Look for a typing error in "
    "the connection's host, and whether that name can be resolved there.",
    "refused": "The server could not be reached: nothing listens at that host and port. Look whether the server runs, "
    "whether host and port are right, and whether it accepts connections from other machines.",
    "tls": "The encrypted connection was not agreed on: look whether the server speaks TLS at that port, whether its "
    "certificate is valid for that host, and what the connection's extra says about TLS.",
    "login": "The server refused the credentials: put the right login and password into the Airflow connection.",
    "database": "The server has no database of that name: look at the connection's schema field.",
    "right": "The login is right, but lacks a right: grant it on the server, or use another login.",
    "full": "The server has no connection left: close idle ones, raise its limit, or let fewer tasks run at a time.",
    "package": "The package for this type of connection is not installed where tasks run: install its Airflow provider "
    "there.",
}


def advice_on_connection(said: str) -> str:
    """Return what to do about a failed check, in a sentence that names no server; "" where we don't know."""
    found = (_ADVICE[name] for name, pattern in _SIGNS.items() if re.search(pattern, said, re.IGNORECASE))
    return next(found, "")
