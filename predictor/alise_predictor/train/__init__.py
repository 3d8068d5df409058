"""Training of the length predictor: data, models, calibration. Never imported when serving."""
