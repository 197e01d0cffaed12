//! Pick one event, stamp the time, handle, dispatch, re-arm the deadline.
