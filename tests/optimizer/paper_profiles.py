"""The paper's device and link, which many tests price networks with."""

from headtail.profile import read_device_profile, read_link_profile
from optimizer.package.points import Profiles

PROFILES = Profiles((read_device_profile("stm32l476-paper"),), (read_link_profile("ble-paper"),))
