"""What the params in force would run and cost: work, hours, memory, disk, money, and what is missing."""
