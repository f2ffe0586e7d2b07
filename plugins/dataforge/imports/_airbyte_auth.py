"""Authenticators of a low-code manifest, as `auth` of the http source."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dataforge.imports._airbyte_values import LOCATIONS, iso_duration
from dataforge.imports.interpolation import access, is_plain, only, text_of

if TYPE_CHECKING:
    from dataforge.imports.airbyte_manifest import Stream

Json = Any
Node = dict[str, Json]
_INPUTS = re.compile(r"\{\{.*?\}\}", re.DOTALL)


class Authenticators:
    """What a stream's authenticators become."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.manifest, self.gap, self.part = stream, stream.manifest, stream.gap, stream.part

    def auth(self, node: Node, connection: str, where: str) -> Node | None:
        """Return `auth` of the http source, and note what the connection must hold."""
        place, kind = f"{where}/authenticator", node.get("type", "NoAuth")
        needs = self.manifest.needs
        if kind == "NoAuth":
            return None
        if kind == "SelectiveAuthenticator":
            options = self.manifest.resolved(node.get("authenticators") or {})
            chosen = next(iter(options), "")
            self.gap(place, f"several ways to log in: {', '.join(options)}", f"{chosen!r} was taken; change auth")
            return self.auth(self.manifest.resolved(options[chosen]), connection, where) if options else None
        if kind == "BasicHttpAuthenticator":
            needs(connection, f"login from {_told(node.get('username'))}, password from {_told(node.get('password'))}")
            return {"type": "basic"}
        if kind == "BearerAuthenticator":
            needs(connection, f"password from {_told(node.get('api_token'))}")
            return {"type": "bearer"}
        if kind == "ApiKeyAuthenticator":
            return self._api_key(node, connection, place)
        if kind == "OAuthAuthenticator":
            return self._oauth(node, connection, place)
        if kind == "SessionTokenAuthenticator":
            return self._session(node, connection, place)
        if kind == "JwtAuthenticator":
            return self._jwt(node, connection, place)
        self.gap(place, f"{kind} is code or outdated", "choose an auth of the http source")
        return None

    def _api_key(self, node: Node, connection: str, place: str) -> Node | None:
        into = self.manifest.resolved(node.get("inject_into") or {})
        name = into.get("field_name") or node.get("header")
        location = LOCATIONS.get(into.get("inject_into", "header"))
        token = str(node.get("api_token") or "")
        before, braces, _ = token.partition("{{")
        prefix = before if braces else ""  # without an input the key itself stands there
        self.manifest.needs(connection, f"password from {_told(token)}" if braces else "password: the key")
        if location not in ("header", "query") or not isinstance(name, str) or not is_plain(name):
            self.gap(place, f"a key that goes into {into.get('inject_into')} {name!r}", "choose another auth")
            return None
        if name.lower() == "authorization" and location == "header" and prefix.strip():
            return {"type": "bearer", **({"scheme": prefix.strip()} if prefix.strip() != "Bearer" else {})}
        made: Node = {"type": "api_key", "name": name}
        return {
            **made,
            **({"location": "query"} if location == "query" else {}),
            **({"prefix": prefix} if prefix else {}),
        }

    def _oauth(self, node: Node, connection: str, place: str) -> Node:
        grant = str(node.get("grant_type") or "refresh_token")
        made: Node = {"type": "oauth2", "grant": grant if is_plain(grant) else "refresh_token"}
        parts = urlsplit(str(node.get("token_refresh_endpoint") or ""))
        origin, server = f"{parts.scheme}://{parts.netloc}", connection
        if not is_plain(origin) or not parts.netloc:
            self.gap(f"{place}/token_refresh_endpoint", "the token server is an input", "set connection and endpoint")
        else:
            if origin != self.manifest.connections.get(connection):
                server = self.manifest.connection(origin, kind="login")
                made["connection"] = server
            made["endpoint"] = parts.path or "/"
        facts = [f"login from {_told(node.get('client_id'))}", f"password from {_told(node.get('client_secret'))}"]
        if made["grant"] == "refresh_token":
            facts.append(f"extra refresh_token from {_told(node.get('refresh_token'))}")
        self.manifest.needs(server, ", ".join(facts))
        for ours, theirs in (("token_path", "access_token_name"), ("expires_path", "expires_in_name")):
            if isinstance(node.get(theirs), str):
                made[ours] = node[theirs]
        if isinstance(node.get("scopes"), list):
            made["scopes"] = [str(scope) for scope in node["scopes"]]
        others = {"client_id_name": "client_id", "client_secret_name": "client_secret",
                  "refresh_token_name": "refresh_token", "grant_type_name": "grant_type"}  # fmt: skip
        for key, usual in others.items():
            if node.get(key, usual) != usual:
                self.gap(f"{place}/{key}", f"the token server calls it {node[key]!r}", "such a server can't be asked")
        for key in ("refresh_request_headers", "refresh_request_body"):
            if node.get(key):
                self.gap(f"{place}/{key}", "further fields of the token request", "see auth.params and client_auth")
        if node.get("refresh_token_updater"):
            self.gap(f"{place}/refresh_token_updater", "refresh tokens that are valid once are not written back",
                     "let a login of another kind be given, or renew the connection from outside")  # fmt: skip
        return made

    def _session(self, node: Node, connection: str, place: str) -> Node | None:
        requester = self.part(node, "login_requester")
        origin, path = self.stream.url(requester, f"{place}/login_requester")
        if origin != self.manifest.connections.get(connection):
            self.gap(f"{place}/login_requester", f"the login is at {origin}", "the login must be on the API's own host")
            return None
        made: Node = {"type": "session", "endpoint": path}
        if str(requester.get("http_method", "GET")).upper() == "GET":
            made["method"] = "GET"
        login = self.manifest.resolved(requester.get("authenticator") or {})
        body = self.manifest.resolved(requester.get("request_body") or {})
        fields = (body.get("value") if isinstance(body, dict) else None) or requester.get("request_body_json")
        fields = fields or requester.get("request_body_data") or {}
        if isinstance(login, dict) and login.get("type") == "BasicHttpAuthenticator":
            made["send"] = "basic"
        elif isinstance(fields, dict):
            if requester.get("request_body_data") or body.get("type") == "RequestBodyUrlEncodedForm":
                made["send"] = "form"
            for key, value in fields.items():
                found = access(only(str(value)))
                secret = bool(found) and self.manifest.specification(found[1] if found else ()).get("airbyte_secret")
                if found and found[0] == "config":
                    made["password_field" if secret or "pass" in str(key).lower() else "login_field"] = str(key)
                elif is_plain(str(value)):
                    made.setdefault("params", {})[str(key)] = str(value)
                else:
                    self.gap(f"{place}/login_requester/{key}", f"{value!r} can't be said", "see auth.params")
        self.manifest.needs(connection, "login and password of the login request")
        made["token_path"] = self.stream.path(node.get("session_token_path"), f"{place}/session_token_path")
        into = self.part(self.part(node, "request_authentication"), "inject_into")
        if into:
            made |= {"name": into.get("field_name"), "scheme": ""}
            if LOCATIONS.get(into.get("inject_into", "")) == "query":
                made["location"] = "query"
        if lifetime := iso_duration(node.get("expiration_duration")):
            made["lifetime"] = lifetime
        return made

    def _jwt(self, node: Node, connection: str, place: str) -> Node:
        made: Node = {"type": "jwt", "algorithm": node.get("algorithm")}
        self.manifest.needs(connection, f"password from {_told(node.get('secret_key'))}")
        claims = {**(node.get("jwt_payload") or {}), **(node.get("additional_jwt_payload") or {})}
        headers = {**(node.get("jwt_headers") or {}), **(node.get("additional_jwt_headers") or {})}
        for ours, given in (("claims", claims), ("headers", headers)):
            said = {}
            for key, value in given.items():
                text = text_of(value, self.stream.say) if isinstance(value, str) else value
                if text is None or (ours == "headers" and "${" in str(text)):
                    self.gap(f"{place}/{key}", f"{value!r} can't be said here", f"write it into auth.{ours}")
                else:
                    said[key] = str(text) if ours == "headers" else text
            if said:
                made[ours] = said
        if node.get("base64_encode_secret_key"):
            made["base64_key"] = True
        if isinstance(node.get("token_duration"), int):
            made["lifetime"] = f"{node['token_duration']}s"
        if isinstance(node.get("header_prefix"), str):
            made["scheme"] = node["header_prefix"]
        if node.get("passphrase") or node.get("request_option"):
            self.gap(place, "a passphrase, or a token outside of a header", "store the key without a passphrase")
        return made


def _told(value: Json) -> str:
    """Return from which inputs a secret comes; one that stands in the manifest itself is not shown."""
    if not value:
        return "nothing"
    return " ".join(_INPUTS.findall(str(value))) or "what stands in the manifest"
