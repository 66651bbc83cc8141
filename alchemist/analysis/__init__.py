"""What figures mean: cells, tables, intervals, agreement, cost, claims."""
