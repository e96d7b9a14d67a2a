"""The WAN bridge: commands between two sites over UDP datagrams, told the times, without sockets or clocks."""
