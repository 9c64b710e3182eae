"""What comes from files of others: JSON and archives that are read within limits, texts that are made safe to print."""
