"""Files and wires. Millimetres die here."""
