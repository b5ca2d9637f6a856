namespace Panacea.Lab.Tour;

/// <summary>Where a tour is shown.</summary>
public interface ITourView
{
    /// <summary>Does something that takes a while, and shows that it goes on.</summary>
    /// <param name="what">What is being done.</param>
    /// <param name="work">Does it; what it reports replaces <paramref name="what"/>.</param>
    Task<T> DuringAsync<T>(string what, Func<Action<string>, Task<T>> work);

    /// <summary>Shows a finished step.</summary>
    void Show(TourStep step);
}
