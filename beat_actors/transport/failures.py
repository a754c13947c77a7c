"""What an error of a connection means, in words that name no URL: the messages of the HTTP library may hold the whole of one, with its secrets."""

import socket

import aiohttp

# The first of an error's kinds that stands here decides.
MEANINGS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    ((aiohttp.ClientConnectorDNSError, socket.gaierror), "the host's name does not resolve"),
    (aiohttp.ClientConnectorCertificateError, "the host's certificate is not trusted"),
    ((aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch), "no TLS connection came about"),
    (ConnectionRefusedError, "the host refused the connection"),
    (aiohttp.ClientConnectorError, "no connection came about"),
    (aiohttp.ServerDisconnectedError, "the host closed the connection before it answered"),
    (aiohttp.ClientPayloadError, "the connection ended before the whole answer had come"),
    ((aiohttp.ClientOSError, ConnectionError), "the connection broke"),
)


def meaning(error: BaseException) -> str:
    """In a few words; the name of its class where it is none that is known."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        error = error.os_error
    return next((said for kinds, said in MEANINGS if isinstance(error, kinds)), type(error).__name__)
