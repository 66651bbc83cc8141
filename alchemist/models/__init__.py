"""Model families behind one protocol, their encoded pairs, and the loop that trains them."""
