using System.Text.Json;

namespace Panacea.Lab.Tour;

/// <summary>The tour as JSON lines, each written out at once.</summary>
/// <param name="to">Where they go.</param>
/// <param name="progress">Shows that something goes on, elsewhere than in <paramref name="to"/>; null where nobody watches.</param>
public sealed class JsonTourView(TextWriter to, ProgressLine? progress = null) : ITourView
{
    /// <inheritdoc/>
    public Task<T> DuringAsync<T>(string what, Func<Action<string>, Task<T>> work) => progress is null ? work(_ => { }) : progress.DuringAsync(what, work);

    /// <inheritdoc/>
    public void Show(TourStep step)
    {
        to.Write(JsonSerializer.Serialize(step, TourJson.Readable.TourStep));
        to.Write('\n');
        to.Flush();
    }
}
