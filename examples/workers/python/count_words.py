# SPDX-License-Identifier: Apache-2.0
"""An example handler: counts the words of each value. worker.command = python3 count_words.py"""
import logging

import weft


@weft.handler
def handle(record):
    if record.value is None:
        raise ValueError("a record without a value")
    logging.getLogger().debug("%s has %d words", record.key, len(record.value.split()))


weft.run()
