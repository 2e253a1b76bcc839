"""Clusters around density peaks by plain loops."""

import math


def peaks(points, n, noise):
    """Centres, best first, and the cluster of each point, by plain loops."""
    size = range(len(points))
    distance = [[math.dist(a, b) / math.sqrt(len(a)) for b in points] for a in points]
    density = [math.exp(-sum(d * d for d in sorted(row)[:n]) / n) + 1e-6 * noise[i] for i, row in enumerate(distance)]
    furthest = max(max(row) for row in distance)
    gap = [min([distance[i][j] for j in size if density[j] > density[i]], default=furthest) for i in size]
    centres = sorted(size, key=lambda i: (-gap[i] * density[i], -density[i], i))[:n]
    members = [min(range(n), key=lambda c, i=i: distance[centres[c]][i]) for i in size]
    for c, centre in enumerate(centres):
        members[centre] = c
    return centres, members
