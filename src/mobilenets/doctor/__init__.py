"""What is wrong with a data set, before a network learns it: the data doctor. No torch.

survey      the layout, read as far as it can be read
examine     one image file -> what it is, and a thumbnail
copies      thumbnails -> groups of near duplicates
rules       all of these -> findings
annotations boxes and masks -> findings
check       the whole of it; `glance` is the part that is quick
labels      what a trained model says -> labels that look wrong
sheet       findings -> a contact sheet
"""

from mobilenets.doctor.check import check
from mobilenets.doctor.findings import Finding, Report, Severity
from mobilenets.doctor.glance import glance

__all__ = ["Finding", "Report", "Severity", "check", "glance"]
