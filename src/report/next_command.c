#include "next_command.h"

#include "recluster/buf.h"
#include "recluster/shell_quote.h"

char *next_command(enum next_step step, const char *state_path)
{
    static const char *const verbs[] = {[NEXT_RECOVER] = "recover",
        [NEXT_REPLAN] = "recover",
        [NEXT_STATUS] = "status",
        [NEXT_REPORT] = "report"};
    AUTO_FREE char *state = shell_word(state_path);
    struct buf command = BUF_INIT;

    buf_addf(&command, "recluster %s --state %s", verbs[step], state);
    if (step == NEXT_REPORT)
        buf_adds(&command, " --html report.html");
    if (step == NEXT_REPLAN)
        buf_adds(&command, " --replan-lost");
    return buf_take(&command);
}
