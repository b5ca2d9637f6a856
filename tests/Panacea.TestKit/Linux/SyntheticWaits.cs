namespace Panacea.TestKit.Linux;

/// <summary>Wait queues that <see cref="SyntheticKernel.MakeWhole"/> has made.</summary>
/// <param name="Children">The queue on which pid 1 waits for its children.</param>
/// <param name="Sleeper">Its entry, on the stack of pid 1.</param>
/// <param name="Poll">The queue of an eventpoll, which is watched by another one and polled by the kernel thread.</param>
/// <param name="Watcher">Entry of the watching one (struct eppoll_entry).</param>
/// <param name="Poller">struct poll_wqueues of the polling one.</param>
public sealed record WholeWaits(ulong Children, ulong Sleeper, ulong Poll, ulong Watcher, ulong Poller);

public sealed partial class SyntheticKernel
{
    private WholeWaits MakeWaits(ulong mount)
    {
        ulong table = this["bit_wait_table"];
        for (int i = 0; i < 2; i++)
            Ring([table + (ulong)(i * Types.SizeOf("wait_queue_head")) + Types.Offset("wait_queue_head.head")]);
        foreach (ulong signal in Tasks.Select(t => t.Signal).Distinct())
            Ring([signal + Types.Offset("signal_struct.wait_chldexit") + Types.Offset("wait_queue_head.head")]);
        ulong children = Init.Signal + Types.Offset("signal_struct.wait_chldexit"), sleeper = Init.StackTop - 0x180;
        WaitOn(children, sleeper, "autoremove_wake_function", Init.Address);

        ulong poll = New("eventpoll"), other = New("eppoll_entry"), poller = Kthread.StackTop - 0x300;
        ulong queue = poll + Types.Offset("eventpoll.poll_wait");
        Ring([poll + Types.Offset("eventpoll.wq") + Types.Offset("wait_queue_head.head")]);
        Put(other, "eppoll_entry.whead", queue);
        Put(poller, "poll_wqueues.polling_task", Kthread.Address);
        WaitOn(queue, other + Types.Offset("eppoll_entry.wait"), "ep_poll_callback", 0, poller + 64, "pollwake", poller);
        ulong file = File(mount, Dentry("[eventpoll]", Get(mount, "mount.mnt.mnt_root")), 0x180, 43, poll);
        Put(Get(file, "file.f_path.dentry"), "dentry.d_inode", Get(file, "file.f_inode"));
        Put(file, "file.f_op", this["eventpoll_fops"]);
        SetFiles(Victim, (5, file));
        return new WholeWaits(children, sleeper, queue, other, poller);
    }

    /// <summary>Puts one entry, or two, on a wait queue.</summary>
    private void WaitOn(ulong queue, ulong entry, string function, ulong own, ulong second = 0, string? secondFunction = null, ulong secondOwn = 0)
    {
        Put(entry, "wait_queue_entry.func", this[function]);
        Put(entry, "wait_queue_entry.private", own);
        ulong link = Types.Offset("wait_queue_entry.entry"), head = queue + Types.Offset("wait_queue_head.head");
        if (secondFunction is null)
        {
            Ring([head, entry + link]);
            return;
        }

        Put(second, "wait_queue_entry.func", this[secondFunction]);
        Put(second, "wait_queue_entry.private", secondOwn);
        Ring([head, entry + link, second + link]);
    }
}
