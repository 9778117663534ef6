"""Summaries of runs that were not trained."""


def summary_of(value, name="error", better="lower", **others):
    """Return a summary that reports a value of a metric in percent."""
    metric = {"name": name, "unit": "%", "better": better, "report": "mean_last_10"}
    results = {"": {name: {"mean_last_10": value, "last": value, "best": value}}}
    return {"metric": metric, "results": results, **others}
