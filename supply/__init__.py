"""What is shipped, and under which terms: NOTICE, the bill of materials, the audit for known faults, and the search for secrets."""
