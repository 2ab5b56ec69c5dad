"""The fault suite: the real commands are killed, cut off, starved and lied to, and an oracle outside decides."""
