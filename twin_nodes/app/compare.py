"""Compares two bags and says where they differ first: `twin compare BAG BAG`."""

from twin_nodes.io.bags.compare import compare_bags


def compare(first: str, second: str) -> int:
    """Print the messages compared and the first difference of each topic; returns 0 when there is none."""
    comparison = compare_bags(first, second)
    for topic, count in sorted(comparison.counts.items()):
        print(f'{count:8d} {topic}')
    for difference in comparison.differences:
        print(f'differs: {difference}')
    same = bool(comparison.counts) and not comparison.differences
    total = f'{sum(comparison.counts.values())} messages on {len(comparison.counts)} topics'
    print(f'{"identical" if same else "not identical"}: {total}, every decoded field bit for bit')
    return 0 if same else 1
