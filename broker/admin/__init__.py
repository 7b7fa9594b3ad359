"""Operations: API, metrics, readiness and console, on a listener of their own."""
