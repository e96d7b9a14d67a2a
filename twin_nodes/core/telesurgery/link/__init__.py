"""The link emulator: what a bad network does to each packet, told the times, seeded, without sockets or clocks."""
