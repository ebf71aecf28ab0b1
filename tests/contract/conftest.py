"""The databases that one suite runs over."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import PostgreSQL, find_programs, running_postgres
