"""Anomalies, found by any model of the zoo at a promised rate of false alarms."""

from aezoo.anomaly._conformal import conformal_threshold as conformal_threshold
from aezoo.anomaly._detector import Detector as Detector
from aezoo.anomaly._detector import load_detector as load_detector
