"""Between the two ROS graphs: only packets cross.

    offer(frame) -> Outbox (newest first) -> pieces -> SecureChannel -> TokenBucket -> Transport ==> ... ==> Transport
                                                                                                               |
    frames, acknowledgements, requests  <-  Reassembler  <-  SecureChannel (forgery, replay, hellos)  <--------'

:class:`gsc_ros.link.endpoint.Endpoint` holds this together without clocks, threads or sockets: the
gateway node drives it in real time, an experiment in virtual time.
"""
