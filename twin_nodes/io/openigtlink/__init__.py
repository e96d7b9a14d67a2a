"""OpenIGTLink, versions 1 to 3: messages, codec, tracker source and server."""
