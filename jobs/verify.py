"""Check that coloured chapters are still what was published: every byte is read again.

python jobs/verify.py --out URI
"""

from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit
from jobs.parts.verify.config import VerifyConfig


def main(config: VerifyConfig) -> Exit:
    # Imported here, so that --help and a wrong option are not kept waiting.
    from jobs.parts.runtime.runner import choose_runner
    from jobs.parts.verify.check import check_all, mark, open_published, report_findings

    published = open_published(config.out)
    findings = check_all(published, choose_runner(config.runner, device="cpu"))
    mark(published, findings)
    return report_findings(published, findings)


cli = command(VerifyConfig, main)

if __name__ == "__main__":
    cli()
