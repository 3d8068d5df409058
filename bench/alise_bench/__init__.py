"""The workbench: engine simulator, load, replay, measurements and plots."""
