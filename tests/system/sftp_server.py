"""``python sftp_server.py PORT FOLDER HOST_KEY USER PASSWORD``: an SFTP server on loopback."""

from __future__ import annotations

import asyncio
import sys

import asyncssh


class Server(asyncssh.SSHServer):
    """Lets one user in, by password."""

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return [username, password] == sys.argv[4:]


async def serve() -> None:
    port, folder, host_key = sys.argv[1:4]
    server = await asyncssh.create_server(
        Server,
        "127.0.0.1",
        int(port),
        server_host_keys=[host_key],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=folder),
    )
    await server.wait_closed()


asyncio.run(serve())
