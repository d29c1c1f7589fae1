"""Otopilot's shared vocabulary and chassis.

A module enters here only when two services need the same decision. Nothing here knows a
service, and `money`, `instrument` and `order` are pure.
"""
