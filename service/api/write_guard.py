"""Who may change what the service does or has counted: whoever bears the token.

Asking is free, and so is a prediction. A click, a baseline, a release and a way back are not: they
decide what is served and what monitoring says. Without a token only this machine is trusted, and of
its programs not a browser that another site's page has sent.
"""

import hmac
import ipaddress
import re
from http import HTTPStatus
from typing import Annotated

from fastapi import Header, HTTPException, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.api.errors import documented

_BEARER = HTTPBearer(
    bearerFormat="CTR_API_TOKEN",
    description="The service's CTR_API_TOKEN, where it has one.",
    auto_error=False,
)
GUARDED = documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""What endpoints with a guard may answer."""
_HERE = {"same-origin", "none"}
"""Of `Sec-Fetch-Site`: the service's own page, and what a person has typed."""
_HOST = re.compile(r"(?:https?://)?(?:\[([0-9A-Fa-f:.]+)\]|([^:/@\[\]]+))(?::[0-9]*)?")
"""Of the headers `Host` and `Origin`."""


class WriteGuard:
    """A dependency of every endpoint that changes something.

    Args:
        token: What a request must bear; None lets in who asks from this machine.
        loopback: Whether the service listens on this machine alone.
    """

    def __init__(self, token: str | None, *, loopback: bool) -> None:
        self._token = None if token is None else token.encode()
        self._loopback = loopback

    async def __call__(
        self,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        host: Annotated[str, Header(include_in_schema=False)] = "localhost",
        origin: Annotated[str, Header(include_in_schema=False)] = "localhost",
        sec_fetch_site: Annotated[str, Header(include_in_schema=False)] = "none",
    ) -> None:
        """Let the request pass.

        Raises:
            HTTPException: 401 where the token is missing or wrong, 403 where there is none to show.
        """
        if self._token is not None:
            given = b"" if credentials is None else credentials.credentials.encode()
            # In a time that does not tell how much of it was right.
            if not hmac.compare_digest(given, self._token):
                raise HTTPException(
                    HTTPStatus.UNAUTHORIZED,
                    "send the service's CTR_API_TOKEN: Authorization: Bearer <token>",
                    headers={"WWW-Authenticate": 'Bearer realm="ctr-monitor"'},
                )
        elif not self._loopback:
            raise HTTPException(
                HTTPStatus.FORBIDDEN,
                "the service listens beyond this machine and has no token, so nobody may change "
                "anything; start it with CTR_API_TOKEN",
            )
        elif sec_fetch_site not in _HERE or not (
            # Not as Starlette reads the host: what it cannot read is this machine for it.
            _names_this_machine(host) and _names_this_machine(origin)
        ):
            raise HTTPException(
                HTTPStatus.FORBIDDEN,
                "without CTR_API_TOKEN only programs on this machine that ask for 127.0.0.1 or "
                "localhost may change anything, and no page of another site",
            )


def _names_this_machine(header: str) -> bool:
    found = _HOST.fullmatch(header)
    if found is None:
        return False
    name = found[1] or found[2]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
