"""How many classes the batches of these tests have, and how metrics count them."""

NUM_CLASSES = 7


def filled(metric, *batches):
    for outputs, labels in batches:
        metric.update(outputs, labels)
    return metric
