"""statsmodels: fitted regressions and time series."""
