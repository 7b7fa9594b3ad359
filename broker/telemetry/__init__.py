"""Every metric name, the access log, tracing identifiers."""
