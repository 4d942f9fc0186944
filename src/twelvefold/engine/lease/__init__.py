"""Leases: which process may work on a run or a message, and until when."""

from twelvefold.engine.lease.held_lease import (
    RENEWALS_PER_LEASE,
    Clock,
    HeldLease,
    LeaseGuard,
    RenewedLease,
    new_lease_token,
)
from twelvefold.engine.lease.renewal import LeaseRenewal, LeaseRenewer, Renewer
from twelvefold.engine.lease.renewal_thread import RenewalThread

__all__ = [
    "RENEWALS_PER_LEASE",
    "Clock",
    "HeldLease",
    "LeaseGuard",
    "LeaseRenewal",
    "LeaseRenewer",
    "RenewalThread",
    "RenewedLease",
    "Renewer",
    "new_lease_token",
]
