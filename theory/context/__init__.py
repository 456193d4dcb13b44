"""What attention does with its context: linear attention, pairs of heads, lengths, targets and regimes."""
