"""Reads a page of /metrics with Prometheus' own Python parser and prints every sample as JSON: "name{label=value,…}" and its value."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

samples = {}
with open(sys.argv[1], encoding="utf-8") as page:
    for family in text_string_to_metric_families(page.read()):
        assert family.documentation, f"{family.name} has no help"
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in samples, f"{name} stands twice"
            samples[name] = sample.value
print(json.dumps(samples))
